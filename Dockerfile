# One image for every process; compose.yaml says which one a container runs.
# The steps are those of `make`: a virtual environment, the locked dependencies with their hashes. What only the
# local stack and the tests need (embedded servers, linters) is left out: requirements.prod.lock is the part of
# requirements.lock without it, at the same versions.

FROM python:3.13.15-slim-trixie AS build
WORKDIR /app
COPY requirements.prod.lock ./
RUN python3 -m venv .venv \
    && .venv/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements.prod.lock

FROM python:3.13.15-slim-trixie
RUN groupadd --system --gid 10001 holdfast \
    && useradd --system --uid 10001 --gid holdfast --no-create-home --home-dir /nonexistent holdfast \
    && install -d -o holdfast -g holdfast /data
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY common common
COPY booking booking
COPY payment payment
COPY gateway gateway
# What holdfast.js in gateway/assets and gateway/pages links to.
COPY clients/js/holdfast.js clients/js/holdfast.js
COPY sandbox sandbox
COPY ops ops
COPY pyproject.toml ./
ENV PATH="/app/.venv/bin:$PATH" PYTHONUNBUFFERED=1
RUN python -m compileall -q common booking payment gateway sandbox ops
# The version of a release, which must be that of pyproject.toml; an image of no release has an empty label.
ARG VERSION=""
RUN test -z "$VERSION" || test "$(python -m ops --version)" = "holdfast $VERSION"
LABEL org.opencontainers.image.version="$VERSION"
USER holdfast
CMD ["python", "-m", "gateway"]
