"""Bounds that the configuration checks too. Without torch: no Spark job loads it for these."""

MIN_LEARNED_TEMPERATURE = 0.01  # as CLIP's (Radford et al. 2021, section 2.5)
