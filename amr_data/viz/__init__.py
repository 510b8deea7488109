"""Pictures of clips, drawn with matplotlib without a display."""

from amr_data.viz.clip_figure import clip_figure

__all__ = ["clip_figure"]
