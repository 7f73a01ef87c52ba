"""llama.cpp's server in the process of `xllamacpp`; takes the options of `llama-server` that are set here."""

from __future__ import annotations

import argparse
import time

import xllamacpp

parser = argparse.ArgumentParser()
for option in ("-m", "-c", "-np", "-t", "-tb", "--port", "--slot-save-path"):
    parser.add_argument(option, required=True)
asked = parser.parse_args()
parameters = xllamacpp.CommonParams()
parameters.model.path = asked.m
parameters.n_ctx, parameters.n_parallel, parameters.port = int(asked.c), int(asked.np), int(asked.port)
parameters.cpuparams.n_threads, parameters.cpuparams_batch.n_threads = int(asked.t), int(asked.tb)
parameters.slot_save_path = asked.slot_save_path + "/"
parameters.verbosity = 0
server = xllamacpp.Server(parameters)
while True:
    time.sleep(60)
