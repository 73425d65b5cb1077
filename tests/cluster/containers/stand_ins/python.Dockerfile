# What this project uses of python:3.11-slim-bookworm: Debian's Python 3.11, with pip, by the same commands.
FROM stand-in-debian
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/* /usr/lib/python3.11/EXTERNALLY-MANAGED \
    && ln -s /usr/bin/python3 /usr/local/bin/python
