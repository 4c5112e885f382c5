//! Adversarial cases of the format.
