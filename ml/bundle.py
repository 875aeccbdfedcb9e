"""Model bundles: a directory with ``bundle.toml``, ``MODEL_CARD.md`` and weights that are opened only after their hash matched."""

import hashlib
import os
import shutil
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.contracts import ModelIdentity
from ml.errors import BundleError

VESSEL_SEGMENTATION = "fundus_vessel_segmentation"
DISEASE_CLASSIFICATION = "fundus_disease_classification"
VESSEL_MAP_CLASSIFICATION = "vessel_map_classification"
LATERALITY = "fundus_laterality"
# Those that speak of diseases; a directory without ``fundus_laterality`` asks about no eye.
BUNDLE_NAMES = (VESSEL_SEGMENTATION, DISEASE_CLASSIFICATION, VESSEL_MAP_CLASSIFICATION)

MANIFEST_FILE = "bundle.toml"
CARD_FILE = "MODEL_CARD.md"
# Formats that hold numbers only; a pickle could run code when it is opened.
WEIGHTS_FILES = ("weights.safetensors", "model.weights.h5")
REQUIRED_KEYS = ("name", "version", "task", "framework", "architecture", "input", "output", "files")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A trained network and all that is needed to use it.

    Attributes:
        directory: Where the files lie.
        manifest: Content of ``bundle.toml``.
        name: For example ``fundus_vessel_segmentation``.
        version: Semantic version.
        sha256: Hexadecimal SHA-256 of the weights file, as the manifest declares it.
        weights_path: The weights file.
    """

    directory: Path
    manifest: dict[str, Any]
    name: str
    version: str
    sha256: str
    weights_path: Path

    @property
    def identity(self) -> ModelIdentity:
        """The name, version and weights hash that results are stamped with."""
        return ModelIdentity(name=self.name, version=self.version, sha256=self.sha256)

    @property
    def card(self) -> str | None:
        """Text of ``MODEL_CARD.md``; None when the bundle has none."""
        path = self.directory / CARD_FILE
        return path.read_text(encoding="utf-8") if path.is_file() else None


def default_model_dir() -> Path:
    """Return the directory of the bundles: ``RETINA_MODEL_DIR``, else the ones that are shipped."""
    configured = os.environ.get("RETINA_MODEL_DIR")
    return Path(configured) if configured else Path(__file__).parent / "bundles"


def read_bundle(directory: Path) -> Bundle:
    """Read a bundle's manifest without opening or hashing its files.

    Args:
        directory: Holds ``bundle.toml``.

    Returns:
        The bundle as declared; good enough to list, not to compute with.

    Raises:
        BundleError: The manifest is missing, malformed or lacks a required key.
    """
    path = directory / MANIFEST_FILE
    try:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BundleError(f"The model bundle {directory.name} has no readable {MANIFEST_FILE}.") from error
    missing = [key for key in REQUIRED_KEYS if key not in manifest]
    if missing:
        raise BundleError(f"The model bundle {directory.name} lacks {', '.join(missing)} in {MANIFEST_FILE}.")
    files = manifest["files"]
    if not isinstance(files, dict):
        raise BundleError(f"The model bundle {directory.name} needs a table [files] in {MANIFEST_FILE}.")
    _require_plain_names(directory, files)
    weights = [name for name in WEIGHTS_FILES if name in files]
    if len(weights) != 1:
        raise BundleError(f"The model bundle {directory.name} must list one weights file, found {len(weights)}.")
    return Bundle(
        directory=directory,
        manifest=manifest,
        name=str(manifest["name"]),
        version=str(manifest["version"]),
        sha256=str(files[weights[0]]),
        weights_path=directory / weights[0],
    )


def load_bundle(directory: Path) -> Bundle:
    """Read a bundle and prove that its files are the ones it was published with.

    Args:
        directory: Holds ``bundle.toml`` and every file listed under ``[files]``.

    Returns:
        The bundle; each listed file existed with the declared SHA-256 when this returned.

    Raises:
        BundleError: The manifest is unusable, a file is missing, or a hash differs.
    """
    bundle = read_bundle(directory)
    for name, expected in bundle.manifest["files"].items():
        try:
            found = _sha256_of(directory / name)
        except OSError as error:
            raise BundleError(f"The model bundle {bundle.name} lacks its file {name}.") from error
        if found != expected:
            raise BundleError(f"The file {name} of the model bundle {bundle.name} does not match its SHA-256.")
    return bundle


def write_bundle(directory: Path, manifest: dict[str, Any], files: dict[str, bytes | Path]) -> Bundle:
    """Publish a bundle: all of it appears at once, or nothing changes.

    The model card is prose that may be corrected later, so it is not hashed; a card that is
    already there stays when ``files`` brings none.

    Args:
        directory: Where the bundle shall lie; an older bundle there is replaced.
        manifest: Content of ``bundle.toml`` without ``files``; numbers may be NumPy scalars.
        files: File name to content, or to a file that is copied.

    Returns:
        The bundle, loaded back from disk.

    Raises:
        BundleError: A name has a directory part, or the manifest lacks a required key.
    """
    import tomli_w

    _require_plain_names(directory, files)
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        staging.chmod(0o755)
        for name, content in files.items():
            (staging / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        old_card = directory / CARD_FILE
        if CARD_FILE not in files and old_card.is_file():
            shutil.copyfile(old_card, staging / CARD_FILE)
        hashes = {name: _sha256_of(staging / name) for name in files if name != CARD_FILE}
        complete = _plain({**manifest, "files": hashes})
        (staging / MANIFEST_FILE).write_text(tomli_w.dumps(complete), encoding="utf-8")
        load_bundle(staging)
        _swap(staging, directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return load_bundle(directory)


def _swap(staging: Path, directory: Path) -> None:
    """Rename ``staging`` to ``directory``; what was there before ends up at ``staging``."""
    if not directory.exists():
        staging.rename(directory)
        return
    retired = staging.with_name(staging.name + "-old")
    directory.rename(retired)
    staging.rename(directory)
    retired.rename(staging)


def _require_plain_names(directory: Path, names: dict[str, Any]) -> None:
    for name in names:
        if not name or name in {".", "..", MANIFEST_FILE} or Path(name).name != name:
            raise BundleError(f"The model bundle {directory.name} lists a file name that is not allowed.")


def _plain(value: Any) -> Any:
    """Turn tuples into lists, NumPy scalars and arrays into Python values, paths into text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
