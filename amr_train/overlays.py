"""The public name of `amr_train.deploy.overlays`."""

from amr_train.deploy.overlays import model_scenes, restored

__all__ = ["model_scenes", "restored"]
