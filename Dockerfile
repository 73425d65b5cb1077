# One image for every part but PostgreSQL: MLflow, the head, the service and the workers.
# VARIANT=cpu has PyTorch without CUDA's libraries, VARIANT=gpu has them too; both have the same versions.
FROM python:3.11.13-slim-bookworm AS build
ARG VARIANT=cpu

RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils gcc libc6-dev

# Exactly the versions that were tested, by their hashes, without what only tests need.
WORKDIR /build
COPY pyproject.toml README.md requirements.lock ./
COPY tools/image ./tools/image
RUN python -m venv --without-pip /opt/sweeper \
    && python tools/image/requirements.py "$VARIANT" > wanted.lock \
    && pip --python /opt/sweeper/bin/python install --no-cache-dir --no-deps --require-hashes \
        --requirement wanted.lock \
    && if [ "$VARIANT" = cpu ]; then \
        python tools/image/without_cuda.py /opt/sweeper/lib/python3.11/site-packages/torch/lib; fi \
    && find /opt/sweeper -depth -type d \( -name tests -o -path '*/torch/include' \) -exec rm -r {} +

COPY search_spaces ./search_spaces
COPY trainables ./trainables
COPY sweeper ./sweeper
RUN pip --python /opt/sweeper/bin/python install --no-cache-dir --no-deps .

FROM python:3.11.13-slim-bookworm
# curl asks Compose's health checks, wget KubeRay's; Ray's cluster launcher copies with rsync, and its head starts
# workers by ssh.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl openssh-client rsync wget \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/sweeper /opt/sweeper
# A login shell sets PATH anew, and Ray's cluster launcher uses no other. New volumes take their owner from the folders.
RUN useradd --create-home --uid 1000 sweeper \
    && echo 'PATH=/opt/sweeper/bin:$PATH' > /etc/profile.d/sweeper.sh \
    && install --directory --owner sweeper --group sweeper \
        /artifacts /results /home/sweeper/work /home/sweeper/.cache
# By its number: Kubernetes asks for one, and Docker looks a name up on the host.
USER 1000
WORKDIR /home/sweeper/work
ENV PATH=/opt/sweeper/bin:$PATH PYTHONUNBUFFERED=1
