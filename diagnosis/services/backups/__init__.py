"""Encrypted backups of database and photographs, and their way back.

A backup is one file: a tar stream (``archive``) of rows as JSON lines (``rows``) and of media files, sealed
in authenticated chunks (``sealing``). ``backup`` writes it, ``restore`` reads it.
"""
