"""Scenarios that fail today because of a known fault, with the reason. One that passes must be removed from here."""

AWAITED = {}
