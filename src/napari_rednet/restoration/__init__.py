"""The restoration verbs: check what was given, choose the model, run it over all planes.

Each verb has a form that works step by step: arguments are checked at once, iterating does the
work, closing the generator cancels. `prepare_*` only check the arguments, for callers that
restore a part.
"""
