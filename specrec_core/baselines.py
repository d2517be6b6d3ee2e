"""Experiments that several chapters share, so that they share their records. Imports no torch."""

from specrec_core.records import Experiment

CITEULIKE_BPR = Experiment(  # rate and penalty are for the chapters to choose
    dataset="citeulike",
    version="directspec@21e0ebe, official split",
    dim=64,
    epochs=400,
    seeds=(0, 1, 2, 3, 4),
    evaluate_every=4,
    patience=15,  # 60 epochs: the noise of validation stops nobody
    init_std=0.01,
)
