"""Define `cnnlab.Run`: a run directory with its trained network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cnnlab.reporting.tables import Table
from cnnlab.runs.record import Record, read_history

if TYPE_CHECKING:
    from cnnlab.models.network import Network
    from cnnlab.training.classifier import Classifier


class Run(Record):
    """A run directory and the network trained in it; torch is imported when the network is asked for.

    >>> run = Run.load("outputs/runs/...")     # doctest: +SKIP
    >>> run.metrics["test/acc"]                # doctest: +SKIP
    """

    @classmethod
    def chosen(cls, config: Mapping[str, Any], needs_data: bool = False, other_data: bool = False) -> Self:
        """Return the run of a command's config, which names it by `run`, or describes it by `model` and `init_from`.

        Args:
            config: as plain containers.
            needs_data: whether the command needs examples of a dataset.
            other_data: whether it accepts another dataset than the run's own.

        Raises:
            ValueError: both are given, or neither, or a part of the second is missing.
        """
        source, model, data = config["init_from"], config.get("model"), config.get("data")
        of_a_run = config["run"] or ((Path(str(source)) / "run.json").is_file() and source)
        if of_a_run and data and not other_data:
            raise ValueError(f"data={data['name']}: {of_a_run} is a run, which has data of its own")
        if config["run"] is not None:
            for key, value in {"init_from": source, "model": model and model.get("name")}.items():
                if value is not None:
                    raise ValueError(f"run= and {key}={value}: give either run=, or model= and init_from=")
            return cls.load(config["run"])
        if source is None:
            wanted = "run=... has to be given, or in its place model=NAME and init_from="
            raise ValueError(f"{wanted}, the weights of a run, of a file or torchvision's" if model is None else wanted)
        if model is None:
            raise ValueError(f"init_from={source}: model=... has to be given too, the network that takes these weights")
        if needs_data and not data and not of_a_run:
            raise ValueError(f"init_from={source}: data=... has to be given too, the images to look at")
        from cnnlab.trained.given import given_run

        return cls(given_run(config).directory)

    @classmethod
    def given(cls, overrides: Sequence[str]) -> Self:
        """Make a run of a network with given weights, without training, as commands do with `init_from=` for `run=`.

        >>> run = Run.given(["model=resnet18", "init_from=torchvision"])     # doctest: +SKIP

        Args:
            overrides: as on the command line: `model=`, `init_from=`, perhaps `data=` and more.

        Raises:
            ValueError: with the one-line message of the command.
        """
        from cnnlab.trained.given import compose_given

        return cls.chosen(compose_given(overrides))

    def classifier(self, checkpoint: str = "best") -> "Classifier":
        """Load the trained classifier, on the CPU, in evaluation mode.

        Raises:
            ValueError: there is no such checkpoint, or it cannot be read.
        """
        from cnnlab.training.load import load_trained

        return load_trained(self, checkpoint)

    def network(self, checkpoint: str = "best") -> "Network":
        """Load the trained network, on the CPU, in evaluation mode; it takes (N, C, H, W), bytes or floats, 0 to 1."""
        return self.classifier(checkpoint).network

    @property
    def classes(self) -> list[str]:
        """Return the class names, in label order."""
        return self.classifier().classes

    @property
    def history(self) -> Table:
        """Return a row for each epoch: `epoch`, from 1, `train/loss`, `val/loss`, `val/acc` and other logged metrics.

        Raises:
            ValueError: the run was trained without the CSV logger, or its log is damaged.
        """
        rows = Table(read_history(self.directory))
        loggers = (self.config["logger"] or {}).values()
        if not rows and not any("CSVLogger" in str(logger.get("_target_")) for logger in loggers if logger):
            raise ValueError(f"{self.directory} has no history, which the CSV logger writes; train with logger=default")
        return rows

    def predict(self, images: Any = None, *, text: str | Sequence[str] | None = None) -> Table:
        """Predict images in memory or in files, or sentences, a row for each.

        Args:
            images: a tensor or array (N, C, H, W), or one image (C, H, W), bytes or floats from 0 to 1; or an image
                file of any size, a folder of them, or a list of files and folders. For a run on sentences, text files
                with a sentence per line.
            text: instead of images, one or several sentences, for a run on sentences.

        Returns rows of `label` and `probability`; for files, of `file`, `label`, `probability`, `error`; for text, of
        `text` and the same. Then follow `label2` and `probability2`, the second most probable class, and so on up to
        the fifth.

        Raises:
            ValueError: there is no such file, or a tensor's shape is not the network's input shape.
        """
        from cnnlab.trained.predict import files_of, predict, predict_images, predict_text

        if text is not None:
            return predict_text(self, [text] if not isinstance(text, Sequence) or isinstance(text, str) else text)
        if hasattr(images, "shape"):
            return predict_images(self, images)
        return predict(self, files_of(images, self))

    def evaluate(
        self,
        data: str | Sequence[str] | Mapping[str, Any] | None = None,
        lesion: str | Sequence[str] | None = None,
        lesion_by: str | None = None,
    ) -> dict[str, Any] | Table:
        """Test the best checkpoint, as `python -m cnnlab.evaluate` does.

        Args:
            data: a dataset, "mnist", or overrides as on the command line, ["data=image_folder", "data.path=..."], or a
                data config as a plain mapping; the run's own data if not given.
            lesion: parts to silence: a list of layers, globs or channels, together; or "each", "each:conv3",
                "each_block", or "blocks:4", one to four blocks drawn at random.
            lesion_by: replacement of an output: "mean" (the default) or "zero"; "pass" removes the layers.

        Returns `test/loss`, `test/acc`, `images`, `per_class`; with `lesion` a table of `lesion`, `test/acc`, `change`,
        for "blocks:4" of `blocks`, `draws`, `test/acc`, `sd`, `change`.

        Raises:
            ValueError: with the one-line message of the command.
        """
        from cnnlab.trained.evaluate import compose_request, evaluate_request

        return evaluate_request(self, compose_request(self, data, lesion, lesion_by))

    def __repr__(self) -> str:
        accuracy = self.metrics.get("test/acc")
        return f"Run({str(self.directory)!r}, {self.status}" + (f", test/acc={accuracy:.4f})" if accuracy else ")")
