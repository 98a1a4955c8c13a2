"""The model: scaling, PCA, isolation forest, and the artifact that holds them."""
