"""The report of one visit as PDF."""
