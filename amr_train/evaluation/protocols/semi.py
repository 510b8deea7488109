"""Fine-tuning with few labels: shares of the training clips, drawn several times; the training has the same
seed every time, so that the draws alone differ."""

from __future__ import annotations

from typing import Any

from amr_data.files import write_json
from amr_train.config import AugmentConfig, EvaluationConfig
from amr_train.evaluation.labels import draw_labelled
from amr_train.evaluation.protocols.base import Protocol, Result
from amr_train.evaluation.protocols.finetune import settings_of, trained_scores
from amr_train.evaluation.scores import spread
from amr_train.evaluation.task import Task


class Semi(Protocol):
    name = "semi"
    frozen = False

    def settings(self, config: EvaluationConfig, augment: AugmentConfig) -> dict[str, Any]:
        few = config.semi.model_dump(mode="json")
        return {**settings_of(config.finetune, config, augment), "semi": few}

    def run(self, task: Task) -> Result:
        config, train = task.settings.semi, task.feed("train")
        figures, details = {}, {}
        for percent in config.percent:
            values: list[float] = []
            for draw in config.draws:
                task.listener.stage(f"{percent:g} % of the labels, draw {draw}")
                part = train.subset(draw_labelled(train.labels, percent, draw))
                name = f"{percent:g}-{draw}"
                if task.work and task.processes.main:
                    task.work.mkdir(parents=True, exist_ok=True)
                    drawn = {"percent": percent, "draw": draw, "clips": part.names}
                    write_json(task.work / f"{name}.json", drawn)
                scores, _ = trained_scores(task, task.encoder, part, task.settings.finetune, name)
                values.append(scores.top1)
            figures[f"semi {percent:g} %"] = spread(values)["mean"]
            more = {"clips": len(part), "draws": config.draws}
            details[f"{percent:g}"] = {"top1": values, **spread(values), **more}
        return Result(figures, details)

    def spoken(self, settings: dict[str, Any]) -> str:
        training = settings["finetune"]
        draws = len(settings["semi"]["draws"])
        return f"lr {training['lr']:g}, batch {training['batch_size']}, mean of {draws} draws, last epoch"
