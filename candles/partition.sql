-- What an operator of PostgreSQL may run, once, while nothing writes: the table `candles` in partitions, 5m candles by
-- month (UTC) and the larger ones together. Nothing else changes: the unique key contains what is partitioned by, and no
-- foreign key points at candles. A month of 5m candles is then retired by DROP TABLE candles_5m_2025_01.
--
--     psql "$DATABASE_URL" --single-transaction --set ON_ERROR_STOP=1 --file candles/partition.sql
--
-- Two years of months are made ahead; later rows go to `candles_5m_other` until this is run again.
ALTER TABLE candles RENAME TO candles_whole;
CREATE TABLE candles (LIKE candles_whole INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY LIST (timeframe);
CREATE TABLE candles_larger_new PARTITION OF candles DEFAULT;
CREATE TABLE candles_5m_new PARTITION OF candles FOR VALUES IN ('5m') PARTITION BY RANGE (open_ms);
CREATE TABLE candles_5m_other_new PARTITION OF candles_5m_new DEFAULT;

DO $$
DECLARE
  -- From the oldest 5m candle to two years ahead; what lies outside goes to `candles_5m_other`.
  month timestamp := date_trunc('month', to_timestamp(coalesce(
    (SELECT min(open_ms) FROM candles_whole WHERE timeframe = '5m') / 1000, extract(epoch FROM now())
  )) AT TIME ZONE 'UTC');
  made text[] := ARRAY['candles_larger', 'candles_5m', 'candles_5m_other'];
  name text;
  definition text;
BEGIN
  WHILE month < (now() AT TIME ZONE 'UTC') + interval '2 years' LOOP
    name := 'candles_5m_' || to_char(month, 'YYYY_MM');
    EXECUTE format(
      'CREATE TABLE %I PARTITION OF candles_5m_new FOR VALUES FROM (%s) TO (%s)', name || '_new',
      (extract(epoch FROM month) * 1000)::bigint, (extract(epoch FROM month + interval '1 month') * 1000)::bigint
    );
    made := made || name;
    month := month + interval '1 month';
  END LOOP;
  INSERT INTO candles SELECT * FROM candles_whole;
  CREATE TEMPORARY TABLE newest ON COMMIT DROP AS SELECT coalesce(max(id), 0) + 1 AS id FROM candles_whole;
  -- Indexes by the definitions that the migrations gave them; the primary key alone cannot span partitions.
  CREATE TEMPORARY TABLE indexes ON COMMIT DROP AS
    SELECT indexname, indexdef, indisunique
    FROM pg_indexes JOIN pg_index ON indexrelid = (schemaname || '.' || indexname)::regclass
    WHERE tablename = 'candles_whole' AND schemaname = current_schema() AND NOT indisprimary;
  DROP TABLE candles_whole CASCADE;
  FOR name, definition IN SELECT indexname, indexdef FROM indexes WHERE NOT indisunique LOOP
    EXECUTE replace(replace(definition, 'candles_whole', 'candles'), ' ON ONLY ', ' ON ');
  END LOOP;
  FOREACH name IN ARRAY made LOOP
    EXECUTE format('ALTER TABLE %I RENAME TO %I', name || '_new', name);
  END LOOP;
END $$;

ALTER TABLE candles ADD CONSTRAINT candle_once UNIQUE (symbol_id, timeframe, open_ms);
ALTER TABLE candles ADD FOREIGN KEY (symbol_id) REFERENCES exchange_symbols (id) DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX IF NOT EXISTS candle_number ON candles (id);
CREATE SEQUENCE candles_number OWNED BY candles.id;
SELECT setval('candles_number', (SELECT id FROM newest), false);
ALTER TABLE candles ALTER COLUMN id SET DEFAULT nextval('candles_number');
DROP TABLE newest, indexes;
ANALYZE candles;
