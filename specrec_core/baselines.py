"""Experiments that several chapters share, so that they share their records. Imports no torch."""

from __future__ import annotations

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
# As the official code of ReSN has it [lin2024resn], but for two things: epochs are selected on a
# validation split, and training stops after 30 epochs that were no better.
RESN_MF = Experiment(
    dataset="ml-1m",
    version="resn@a190a07, official split",
    dim=256,
    epochs=221,
    seeds=(0, 1, 2, 3, 4),
    loss="mse_sigmoid",
    reduction="sum",
    negatives=4,
    positives="user chunks",
    batch_size=2048,
    learning_rate=5e-3,
    l2=1e-5,
    l2_on="whole",
    init="xavier",
    evaluate_every=10,
    patience=3,
    metric="ndcg@20",
)
