"""Telling other programs what happened: outbox, signature, guarded connection, delivery."""
