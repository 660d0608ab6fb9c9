# syntax=docker/dockerfile:1
# Two stages: the first one builds, the second one holds only what runs.

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/pressrun
# The locked packages first: they change less often than the code, and the layer is kept.
COPY requirements.lock ./
RUN /opt/pressrun/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY worker worker
COPY templates templates
COPY config config
RUN /opt/pressrun/bin/pip install --no-deps .

FROM python:3.13-slim-bookworm
# A user without a shell or a home of its own; its number is fixed, so that a volume's owner is known.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin pressrun \
    && install -d -o pressrun -g pressrun /var/lib/pressrun
COPY --from=build /opt/pressrun /opt/pressrun
ENV PATH=/opt/pressrun/bin:$PATH PYTHONUNBUFFERED=1 \
    PRESSRUN_VAR_DIR=/var/lib/pressrun PRESSRUN_LOG_FORMAT=json
USER pressrun
WORKDIR /var/lib/pressrun
VOLUME /var/lib/pressrun
# Workers finish or give back what they have claimed: leave them the time (docker stop -t, stop_grace_period).
STOPSIGNAL SIGTERM
ENTRYPOINT ["pressrun"]
CMD ["--help"]
