"""Training in processes of its own: starts, watches and stops workers. No Qt, no torch; plain threads and callbacks.

run = start("finetune", settings, folder)
for message in run.messages():
    ...
outcome = run.wait()
"""

from .worker import Outcome, WorkerRun, start, training_threads

__all__ = ["Outcome", "WorkerRun", "start", "training_threads"]
