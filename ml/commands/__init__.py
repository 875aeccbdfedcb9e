"""Commands of ``python -m ml``: one module each, with ``HELP``, ``add_arguments(parser)`` and ``run(args) -> int``."""

# Name on the command line to module; a module is imported only when its command runs or shows its help.
COMMANDS: dict[str, str] = {
    "diagnose": "ml.commands.diagnose",
    "train-segmenter": "ml.commands.train_segmenter",
    "evaluate-segmenter": "ml.commands.evaluate_segmenter",
    "verify-bundle": "ml.commands.verify_bundle",
    "train-classifier": "ml.commands.train_classifier",
    "segment-dataset": "ml.commands.segment_dataset",
    "evaluate-classifier": "ml.commands.evaluate_classifier",
    "fit-ood": "ml.commands.fit_ood",
    "fit-statements": "ml.commands.fit_statements",
    "evaluate-statements": "ml.commands.evaluate_statements",
    "publish-curves": "ml.commands.publish_curves",
    "fit-laterality": "ml.commands.fit_laterality",
    "evaluate-laterality": "ml.commands.evaluate_laterality",
    "evaluate-gate": "ml.commands.evaluate_gate",
    "shortcut-audit": "ml.commands.shortcut_audit",
    "equalise": "ml.commands.equalise",
    "train-superresolution": "ml.commands.train_superresolution",
    "superresolve": "ml.commands.superresolve",
    "train-dcgan": "ml.commands.train_dcgan",
    "oversample": "ml.commands.oversample",
    "compare-preprocessing": "ml.commands.compare_preprocessing",
    "leave-one-source-out": "ml.commands.leave_one_source_out",
    "unseen-source": "ml.commands.unseen_source",
}
