"""Processes, devices, and launching several of them on one machine."""
