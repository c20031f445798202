-- What owner `api` has published, so that its digest is at hand and everything can be published again; and the key that
-- each host signs with.

CREATE TABLE published (
  table_name   text NOT NULL,
  key          text NOT NULL,
  epoch        bigint NOT NULL,
  seq          bigint NOT NULL,
  published_ms bigint NOT NULL,
  -- The row as it was published; null for a tombstone.
  content      jsonb,
  PRIMARY KEY (table_name, key)
);
CREATE INDEX published_tombstones ON published (published_ms) WHERE content IS NULL;

CREATE TABLE publish_state (
  only_row         boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  -- TABLE → { rows, sum } over the live rows of `published`, kept as they change.
  sums             jsonb NOT NULL DEFAULT '{}',
  -- Every live row of `published` has this epoch or a later one. Below publish_epoch.epoch: the publisher has yet to see to it.
  floor_epoch      bigint NOT NULL DEFAULT -1,
  -- Ids in the stream: the newest entry that was appended, and the first one of the last publication of all rows.
  last_id          text,
  full_from_id     text,
  -- The publication of all rows that is under way: how many there were, its first entry, and how far it is.
  republish_number bigint NOT NULL DEFAULT 0,
  republishing     boolean NOT NULL DEFAULT false,
  republish_from_id text,
  republish_table  text NOT NULL DEFAULT '',
  republish_key    text NOT NULL DEFAULT '',
  digest_at        timestamptz
);
INSERT INTO publish_state DEFAULT VALUES;

-- What earlier versions have published and kept no note of, with new versions: the projection of announce.ts.
INSERT INTO published (table_name, key, epoch, seq, published_ms, content)
SELECT 'apps', a.id, e.epoch, nextval('publish_seq'), extract(epoch FROM now())::bigint * 1000,
       jsonb_build_object('id', a.id, 'name', a.name, 'org_id', a.org_id, 'org_slug', o.slug,
                          'services', coalesce(a.services, '[]'::jsonb))
FROM apps a JOIN organizations o ON o.id = a.org_id CROSS JOIN publish_epoch e
WHERE a.deleting_at IS NULL;
INSERT INTO published (table_name, key, epoch, seq, published_ms, content)
SELECT 'hostnames', h.hostname, e.epoch, nextval('publish_seq'), extract(epoch FROM now())::bigint * 1000,
       jsonb_build_object('hostname', h.hostname, 'app_id', h.app_id)
FROM hostnames h CROSS JOIN publish_epoch e;

ALTER TABLE hosts ADD COLUMN publisher_key text;
