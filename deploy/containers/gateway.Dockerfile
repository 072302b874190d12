# The gateway, its operator commands and the partner simulator; no engine in here.
FROM python:3.11.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY rollout rollout
COPY serving serving
COPY loadtests loadtests
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir .

FROM python:3.11.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/glidepath --create-home glidepath
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /var/lib/glidepath
EXPOSE 8080 8081
# SIGTERM reaches the gateway itself, which drains.
ENTRYPOINT ["glidepath"]
CMD ["--help"]
