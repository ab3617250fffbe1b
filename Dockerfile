# One image for every role; docker-compose.yml names the command of each.
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

COPY . .
RUN python -m compileall -q livermore exchanges symbols candles proto \
    && useradd --system --no-create-home livermore \
    && install -d -o livermore -g livermore /var/lib/livermore
USER livermore
ENV LIVERMORE_ENV=production LIVERMORE_VAR=/var/lib/livermore
