# One image for every part but PostgreSQL: MLflow, the head, the service and the workers, with and without a GPU.
FROM python:3.11.13-slim-bookworm

# curl asks the health checks.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl \
    && rm -rf /var/lib/apt/lists/*

# Exactly the versions that were tested, by their hashes. PyTorch's wheels run on CPUs too.
WORKDIR /opt/sweeper
COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock

COPY pyproject.toml README.md ./
COPY search_spaces ./search_spaces
COPY trainables ./trainables
COPY sweeper ./sweeper
RUN pip install --no-cache-dir --no-deps .

# New volumes take their owner from these folders.
RUN useradd --create-home --uid 1000 sweeper \
    && install --directory --owner sweeper --group sweeper \
        /artifacts /results /home/sweeper/work /home/sweeper/.cache
USER sweeper
WORKDIR /home/sweeper/work
ENV PYTHONUNBUFFERED=1
