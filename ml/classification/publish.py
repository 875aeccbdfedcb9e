"""Turn a finished run folder into a bundle."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.bundle import Bundle, load_bundle, write_bundle
from ml.classification.data import CLASSES, read_manifest
from ml.classification.fusion import FusionRule, fit_fusion, fuse_many
from ml.classification.statement_fit import PREVALENCE, TARGETS, as_table, fit_rule
from ml.classification.statements import NO_SIGN, NOBODY, StatementRule
from ml.errors import BundleError
from ml.evaluation import bundle_curves, predictions, training_record
from ml.evaluation.bundle_curves import HELD_OUT_FILE
from ml.evaluation.classification import Scored, report
from ml.evaluation.curves import CURVES_FILE
from ml.evaluation.statement_figures import figures

STATEMENTS_FILE = "statements.json"
OUT_OF_FOLD = "out-of-fold predictions"
# What depends on the thresholds of the statements.
COVERAGE_KEYS = ("coverage", "covered_balanced_accuracy")
METRIC_KEYS = (
    "n",
    "macro_auc",
    "macro_auc_ci95",
    "auc",
    "balanced_accuracy",
    "ece",
    "ece_if_calibrated",
    *COVERAGE_KEYS,
)


def publish_run(run: Path, directory: Path, *, version: str, image_run: Path | None = None) -> Bundle:
    """Write the bundle of a run of :func:`ml.classification.train.train`.

    Args:
        run: Run folder.
        directory: Where the bundle shall lie; its name becomes the bundle's name.
        version: Semantic version.
        image_run: Run folder of the image path, whose weights a vessel-map bundle is fused with; None
            for the image path's own bundle.

    Returns:
        The bundle, loaded back from disk.

    Raises:
        BundleError: The manifest is incomplete.
        OSError: The run is not finished.
    """
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    manifest = {
        "name": directory.name,
        "version": version,
        "task": "classification",
        "framework": "keras",
        "architecture": config["network"]["architecture"],
        "input": {
            "kind": config["kind"],
            "side": config["network"]["side"],
            "channels": 3,
            "dtype": "uint8",
            "range": [0, 255],
            "colour_order": "RGB",
            "crop": "field of view, padded to a centred square",
            "equalisation": config["network"]["equalisation"],
        },
        "output": {"classes": list(CLASSES), "temperature": metrics["temperature"], "values": "logits"},
        "inference": {"views": ["identity", "horizontal_flip"] if config["network"]["mirror_images"] else ["identity"]},
        "metrics": _held_out(metrics, config["data"]["headline_source"]),
        "training": _training(config),
    }
    if statements := metrics.get("statements"):
        manifest["statements"] = {**_chosen(_chosen_on(config)), **statements}
    if own := metrics.get("out_of_fold"):
        manifest["out_of_fold"] = own
    if image_run is not None:
        manifest["fusion"] = _fusion(run, image_run, config)
    table = run / predictions.RUN_TABLES["test"]
    files: dict[str, bytes | Path] = {
        "model.weights.h5": run / "model.weights.h5",
        HELD_OUT_FILE: table,
    }
    if config["data"]["folds_in_turn"] and statements:
        files[STATEMENTS_FILE] = _statement_figures(table, config["data"]["headline_source"])
        own_curves = bundle_curves.of_table(table, manifest, training=training_record.of_rounds(run))
        files[CURVES_FILE] = bundle_curves.as_bytes(own_curves)
    return write_bundle(directory, manifest, files)


def refit_statements(directory: Path, *, version: str, manifest: Path | None = None) -> Bundle:
    """Publish a bundle once more with its thresholds chosen anew; its weights stay as they are.

    Args:
        directory: The bundle; its held-out predictions have to be out of fold, as others only measure.
        version: Semantic version.
        manifest: CSV that says whose eyes the photographs are and which grade they have, for predictions that
            were stored without; None where they say so themselves.

    Returns:
        The bundle, loaded back from disk.

    Raises:
        BundleError: The bundle is unusable, or was not trained on folds in turn.
        ValueError: The predictions do not say whose eyes they are of, or the manifest lacks one of them.
    """
    bundle = load_bundle(directory)
    content = dict(bundle.manifest)
    files: dict[str, bytes | Path] = {name: directory / name for name in content.pop("files")}
    if not content["training"].get("folds_in_turn") or HELD_OUT_FILE not in files:
        raise BundleError(f"The model bundle {bundle.name} carries no out-of-fold predictions to choose on.")
    with tempfile.TemporaryDirectory() as scratch:
        table = directory / HELD_OUT_FILE
        if manifest is not None:
            table = _with_subjects(table, manifest, Path(scratch) / HELD_OUT_FILE)
        _, scored, _ = predictions.read(table)
        source = content["metrics"]["headline_source"]
        core = scored.sources == source
        rule = fit_rule(scored.where(core), predictions.read_subjects(table).where(core))
        content.pop("abstention", None)
        content |= {
            "version": version,
            "statements": {**_chosen(OUT_OF_FOLD), **as_table(rule)},
            "metrics": _with_coverage(content["metrics"], report(scored.judged_by(rule))["per_source"]),
        }
        files[HELD_OUT_FILE] = table.read_bytes()
        files[STATEMENTS_FILE] = _statement_figures(table, source)
        known = bundle_curves.read(bundle).get("training")
        files[CURVES_FILE] = bundle_curves.as_bytes(bundle_curves.of_table(table, content, training=known))
    return write_bundle(directory, content, files)


def refit_fusion(directory: Path, image: Bundle, *, version: str) -> Bundle:
    """Publish a vessel-map bundle once more, fused with another version of the image bundle's same weights.

    Args:
        directory: The vessel-map bundle, whose ``[fusion]`` holds weights fitted on validation photographs.
        image: The image path's bundle.
        version: Semantic version.

    Returns:
        The bundle, loaded back from disk. A vessel path that counts for too little is left out of the result.

    Raises:
        BundleError: The bundles do not belong together.
    """
    bundle = load_bundle(directory)
    content = dict(bundle.manifest)
    files: dict[str, bytes | Path] = {name: directory / name for name in content.pop("files")}
    fusion = FusionRule.from_manifests(image.manifest, bundle.manifest).without_noise()
    (image_keys, one, _), (keys, other, _) = (
        predictions.read(each.directory / HELD_OUT_FILE) for each in (image, bundle)
    )
    content.pop("abstention", None)
    content["fusion"].pop("abstention", None)
    content["version"] = version
    # The vessel path states nothing by itself.
    content["metrics"] = _with_coverage(content["metrics"], report(other)["per_source"])
    content["fusion"] |= {
        "image_weight": fusion.image_weight,
        "vessel_weight": fusion.vessel_weight,
        "metrics": _fused_metrics(
            *_in_common(image_keys, one, keys, other),
            fusion,
            StatementRule.from_manifest(image.manifest),
            content["metrics"]["headline_source"],
        ),
    }
    return write_bundle(directory, content, files)


def _statement_figures(table: Path, source: str) -> bytes:
    _, scored, _ = predictions.read(table)
    found = figures(scored, predictions.read_subjects(table), source=source)
    return (json.dumps(found, indent=1) + "\n").encode()


def _with_subjects(table: Path, manifest: Path, out: Path) -> Path:
    """Write predictions once more with what a manifest says of the photographs; return ``out``."""
    keys, scored, shortcuts = predictions.read(table)
    rows = {row.key: row for row in read_manifest(manifest)}
    if unknown := [key for key in keys if key not in rows]:
        raise ValueError(f"The manifest lacks {len(unknown)} of the photographs that were predicted.")
    names = [
        (key, str(group), str(source), scored.classes[label])
        for key, group, source, label in zip(keys, scored.groups, scored.sources, scored.labels, strict=True)
    ]
    subjects = predictions.Subjects.of([rows[key] for key in keys])
    predictions.write_named(out, names, scored, subjects, shortcuts=shortcuts)
    return out


def _chosen_on(config: dict[str, Any]) -> str:
    return OUT_OF_FOLD if config["data"]["folds_in_turn"] else "validation"


def _chosen(photographs: str) -> dict[str, Any]:
    """Return how thresholds were chosen, for the manifest."""
    targets = {
        point: {"sensitivity": dict(target.sensitivity), "precision": dict(target.precision)}
        for point, target in TARGETS.items()
    }
    return {"chosen": photographs, "prevalence": PREVALENCE, "targets": targets}


def _held_out(metrics: dict[str, Any], headline_source: str) -> dict[str, Any]:
    """Pick the published figures: the headline within one source, then every source."""
    per_source = metrics["test"]["per_source"]
    rows = {source: {key: row[key] for key in METRIC_KEYS} for source, row in per_source.items()}
    return _without_none({"headline_source": headline_source, **rows[headline_source], "per_source": rows})


def _with_coverage(published: dict[str, Any], per_source: dict[str, Any]) -> dict[str, Any]:
    """Return published figures with those that follow from the thresholds measured anew."""
    rows = {
        source: row | {key: per_source[source][key] for key in COVERAGE_KEYS}
        for source, row in published["per_source"].items()
    }
    headline = {key: rows[published["headline_source"]][key] for key in COVERAGE_KEYS}
    return _without_none({**published, **headline, "per_source": rows})


def _without_none(value: Any) -> Any:
    """Drop undefined figures, which TOML cannot hold."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [item for item in value if item is not None]
    return value


def _training(config: dict[str, Any]) -> dict[str, Any]:
    data, fit = config["data"], config["fit"]
    return {
        "experiment": config["name"],
        "begins_from": config.get("begins_from", []),
        "seed": config["seed"],
        "sources": sorted(data["source_share"]),
        "pretrained": config["network"]["pretrained"],
        "test_folds": data["test_folds"],
        "validation_folds": data["validation_folds"],
        "validation_share": data["validation_share"],
        "folds_in_turn": data["folds_in_turn"],
        "epochs": fit["epochs"],
        "steps_per_epoch": fit["steps_per_epoch"],
        "batch_size": fit["batch_size"],
        "learning_rate": fit["learning_rate"],
        "label_smoothing": fit["label_smoothing"],
    }


def _fusion(run: Path, image_run: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Fit the rule on the validation photographs of both runs, and measure it on the held-out ones."""
    source = config["data"]["headline_source"]
    test, validation = (predictions.RUN_TABLES[part] for part in ("test", "validation"))
    # A run of folds in turn has no validation of its own: none of its predictions saw the photograph.
    image_validation = image_run / validation if (image_run / validation).is_file() else image_run / test
    image, vessel = _shared(image_validation, run / validation)
    core = image.sources == source
    rule = fit_fusion(image.probabilities[core], vessel.probabilities[core], image.labels[core])
    image_metrics = json.loads((image_run / "metrics.json").read_text(encoding="utf-8"))
    statements = StatementRule.from_manifest(
        {"statements": image_metrics["statements"], "output": {"classes": list(CLASSES)}}
    )
    return {
        "image_bundle_sha256": hashlib.sha256((image_run / "model.weights.h5").read_bytes()).hexdigest(),
        "image_weight": rule.image_weight,
        "vessel_weight": rule.vessel_weight,
        "chosen": f"lowest validation loss on {int(core.sum())} photographs of {source}",
        "metrics": _fused_metrics(*_shared(image_run / test, run / test), rule, statements, source),
    }


def _fused_metrics(
    image: Scored, vessel: Scored, rule: FusionRule, statements: StatementRule, source: str
) -> dict[str, Any]:
    """Measure both paths together on the photographs (the same in both tables) of every source."""
    fused = image.with_probabilities(fuse_many(image.probabilities, vessel.probabilities, rule)).judged_by(statements)
    core = image.sources == source
    agree = (image.probabilities.argmax(axis=1) == vessel.probabilities.argmax(axis=1))[core]
    return {
        **_held_out({"test": report(fused)}, source),
        "agreement_share": round(float(agree.mean()), 4),
        "by_agreement": by_agreement(fused.where(core), agree),
    }


def by_agreement(scored: Scored, agree: NDArray[np.bool_]) -> dict[str, dict[str, dict[str, float]]]:
    """Count how often what is named is right, apart where both paths point to one class and where they differ.

    Returns:
        ``agree`` and ``differ``: ``no_sign`` and ``suspected``: ``n`` photographs and the share ``right`` of them.
    """
    no_sign = scored.named == scored.classes.index(NO_SIGN)
    groups = {"no_sign": no_sign, "suspected": (scored.named != NOBODY) & ~no_sign}
    right = scored.named == scored.labels
    return {
        word: {
            name: {"n": int((group & rows).sum()), "right": round(float(right[group & rows].mean()), 4)}
            for name, group in groups.items()
            if (group & rows).any()
        }
        for word, rows in (("agree", agree), ("differ", ~agree))
    }


def _shared(first: Path, second: Path) -> tuple[Scored, Scored]:
    """Read two tables of predictions and keep the photographs that are in both, in the same order."""
    (first_keys, one, _), (second_keys, other, _) = predictions.read(first), predictions.read(second)
    return _in_common(first_keys, one, second_keys, other)


def _in_common(first_keys: list[str], one: Scored, second_keys: list[str], other: Scored) -> tuple[Scored, Scored]:
    _, first_rows, second_rows = np.intersect1d(first_keys, second_keys, return_indices=True)
    return one.where(first_rows), other.where(second_rows)
