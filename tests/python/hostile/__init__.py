"""Inputs that a reader must survive: each module makes one family of cases, `case` holds what they share."""
