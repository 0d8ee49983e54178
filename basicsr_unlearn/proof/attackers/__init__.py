"""Attackers and statistics as plain torch and numpy code, free of BasicSR."""
