"""Durable, private, never half a file."""

import errno
import os
import uuid
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from diagnosis import storage
from diagnosis.errors import StorageFullError, StorageUnavailableError


def test_a_full_disk_leaves_no_partial_file(settings, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)

    with pytest.raises(StorageFullError):
        storage.write_durably("images/aa/one.jpg", b"content")

    assert [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()] == [
        storage.absolute(storage.MARKER)
    ]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EIO])
def test_a_medium_that_cannot_be_written_says_so_and_leaves_nothing(settings, monkeypatch, number):
    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage.os, "rename", refuse)

    with pytest.raises(StorageUnavailableError):
        storage.write_durably("images/aa/one.jpg", b"content")

    assert list(storage.stored_files()) == []


def test_nothing_is_written_without_the_marker(settings):
    (Path(settings.MEDIA_ROOT) / storage.MARKER).unlink()

    with pytest.raises(StorageUnavailableError):
        storage.write_durably("images/aa/one.jpg", b"content")

    assert list(Path(settings.MEDIA_ROOT).iterdir()) == []
    assert not storage.is_writable()


@pytest.mark.parametrize(("has_marker", "error"), [(True, storage.DamagedFileError), (False, StorageUnavailableError)])
def test_a_missing_file_is_told_from_a_missing_medium(settings, has_marker, error):
    if not has_marker:
        (Path(settings.MEDIA_ROOT) / storage.MARKER).unlink()

    with pytest.raises(error):
        storage.read_verified("images/aa/one.jpg", sha256="0" * 64)


def test_moving_overwrites_nothing():
    storage.write_durably("images/aa/one.jpg", b"one")
    storage.write_durably("images/bb/two.jpg", b"two")

    with pytest.raises(FileExistsError):
        storage.move("images/aa/one.jpg", "images/bb/two.jpg")

    assert (storage.read("images/aa/one.jpg"), storage.read("images/bb/two.jpg")) == (b"one", b"two")


def test_what_was_written_is_read_back_with_its_hash():
    digest = storage.write_durably("images/aa/one.jpg", b"abc")

    assert storage.read("images/aa/one.jpg") == b"abc"
    # SHA-256 test vector "abc" of FIPS 180-2.
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "images/../../outside"])
def test_names_cannot_leave_the_media_root(name):
    with pytest.raises(ValueError, match="media root"):
        storage.read(name)


def test_media_has_no_public_address():
    with pytest.raises(ValueError, match="public"):
        default_storage.url("images/aa/one.jpg")


def test_no_two_attempts_share_a_folder():
    one, other = uuid.uuid4(), uuid.uuid4()

    folders = {storage.attempt_directory(d, attempt) for d in (one, other) for attempt in (1, 2)}

    assert len(folders) == 4
