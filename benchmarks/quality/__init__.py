"""How good the candidates are."""
