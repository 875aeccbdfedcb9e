# One image for web, worker and sweeper; only the command and the environment differ.
FROM python:3.11-slim AS packages
WORKDIR /build
COPY requirements.txt .
# The last section of requirements.txt is for tests; the image does not carry it.
RUN sed '/^# Tests/,$d' requirements.txt > production.txt \
    && python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -r production.txt

FROM python:3.11-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RETINA_DATA_DIR=/var/lib/retina
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/retina retina \
    && install -d -m 0700 -o retina -g retina /var/lib/retina
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/retina
# What this is, .dockerignore says: the code, its pages and the weights.
COPY . .
USER retina
VOLUME /var/lib/retina
EXPOSE 8000
# For the web part. The other services of docker-compose.yml name their own check.
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8000/healthz', timeout=4)"]
CMD ["python", "manage.py", "portal", "--web-only", "--host", "0.0.0.0"]
