"""The service: sweeps over HTTP, for several people on one cluster.

It is thin. Ray runs the sweeps, as jobs, and Optuna's storage has the truth about them; the service keeps
nothing that it could not read again after a restart.
"""
