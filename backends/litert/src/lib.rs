//! The LiteRT backend, and the rules of NeuroPilot and Exynos for the same files.
