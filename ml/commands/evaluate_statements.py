"""``evaluate-statements``: what the statements are worth at a clinic's own prevalence, from stored predictions."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ml.commands import _common
from ml.errors import MLError

HELP = "measure the statements by condition, grade and source on the bundle's out-of-fold predictions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="the image path's bundle (default: the one in use)")
    parser.add_argument(
        "--prevalence",
        type=float,
        default=0.15,
        metavar="SHARE",
        help="share of the clinic's eyes with one of the conditions (default: %(default)s)",
    )
    parser.add_argument("--draws", type=int, default=500, help="bootstrap resamples (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure; exit status 0, or 2 when the bundle or the prevalence cannot be used."""
    from ml import bundle as bundles
    from ml.classification.publish import HELD_OUT_FILE
    from ml.evaluation import predictions
    from ml.evaluation.statement_figures import figures

    if not 0 < args.prevalence < 1:
        sys.stderr.write("error: --prevalence is a share between 0 and 1.\n")
        return 2
    try:
        bundle = bundles.load_bundle(args.bundle or bundles.default_model_dir() / bundles.DISEASE_CLASSIFICATION)
        table = bundle.directory / HELD_OUT_FILE
        _, scored, _ = predictions.read(table)
        found = figures(
            scored,
            predictions.read_subjects(table),
            source=bundle.manifest["metrics"]["headline_source"],
            prevalence=args.prevalence,
            draws=args.draws,
        )
    except (MLError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(as_text(found) if args.json != "-" else "")
    _common.write_json({"bundle": bundle.version, **found}, args.json)
    return 0


def as_text(found: dict[str, Any]) -> str:
    """Return the figures as tables in Markdown; they stand in the model card word for word."""
    lines = []
    for name, point in found["points"].items():
        rows = {"one eye": point["one_eye"], "the same, eyes with a fellow": point["one_eye_of_pairs"]}
        rows["both eyes together"] = point["both_eyes"]
        lines += [
            f"**{name}**, {found['source']}, at a prevalence of {point['one_eye']['prevalence']:.0%}:",
            "",
            "| | n | no sign | right (NPV) | suspected | right (PPV) | indeterminate | missed | false alarm |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_row(label, row) for label, row in rows.items()),
            "",
            "| condition | n | not ruled out | suspected | named no sign | of healthy: ruled out | suspected | precision |",
            "|---|---|---|---|---|---|---|---|",
            *(_condition(label, row) for label, row in point["one_eye"]["conditions"].items()),
            "",
            "| retinopathy | n | suspected | not suspected | named no sign |",
            "|---|---|---|---|---|",
            *(
                f"| {grade} | {row['n']} | {row['suspected']:.2f} | {row['not_suspected']:.2f} "
                f"| {row['named_no_sign']:.2f} |"
                for grade, row in point["one_eye"]["retinopathy_by_grade"].items()
            ),
            "",
            "| source | healthy | named no sign | with a condition | named no sign | suspected |",
            "|---|---|---|---|---|---|",
            *(_source(label, row) for label, row in point["sources"].items()),
            "",
        ]
    return "\n".join(lines) + "\n"


def _row(label: str, row: dict[str, Any]) -> str:
    total = sum(count for name, count in row["n"].items() if name != "mild")
    return (
        f"| {label} | {total:,} | {row['no_sign']:.3f} | {row['npv']:.3f} ({_span(row['npv_ci95'])}) "
        f"| {row['suspected']:.3f} | {row['ppv']:.3f} ({_span(row['ppv_ci95'])}) | {row['indeterminate']:.3f} "
        f"| {row['missed']:.3f} ({_span(row['missed_ci95'])}) | {row['false_alarm']:.3f} |"
    )


def _condition(label: str, row: dict[str, Any]) -> str:
    keys = ("not_ruled_out", "suspected", "named_no_sign", "healthy_ruled_out", "healthy_suspected", "precision")
    return f"| {label} | {row['n']} | " + " | ".join(f"{row[key]:.3f}" for key in keys) + " |"


def _source(label: str, row: dict[str, Any]) -> str:
    healthy = row["n"]["Normal"]
    sick = sum(count for name, count in row["n"].items() if name not in {"Normal", "mild"})
    return f"| {label} | {healthy} | {row['specificity']:.3f} | {sick} | {row['missed']:.3f} | {row['found']:.3f} |"


def _span(interval: list[float]) -> str:
    return f"{interval[0]:.3f}-{interval[1]:.3f}"
