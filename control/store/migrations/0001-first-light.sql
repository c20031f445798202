-- Organisations, apps, releases, the placement ledger, hosts, and the outbox to the state streams.

CREATE TABLE organizations (
  id         text PRIMARY KEY,
  slug       text NOT NULL UNIQUE,
  name       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE apps (
  id                 text PRIMARY KEY,
  org_id             text NOT NULL REFERENCES organizations (id),
  name               text NOT NULL UNIQUE,
  -- Of the current release; null before the first one.
  services           jsonb,
  current_release_id text,
  created_at         timestamptz NOT NULL DEFAULT now(),
  -- The wish to be gone: set, the app is routed no more, and the release runner removes its machines, then this row.
  deleting_at        timestamptz
);
CREATE INDEX apps_by_org ON apps (org_id, name);
CREATE INDEX apps_deleting ON apps (deleting_at) WHERE deleting_at IS NOT NULL;

CREATE TABLE hostnames (
  hostname   text PRIMARY KEY,
  app_id     text NOT NULL REFERENCES apps (id),
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX hostnames_by_app ON hostnames (app_id);

CREATE TABLE releases (
  id             text PRIMARY KEY,
  app_id         text NOT NULL REFERENCES apps (id),
  version        integer NOT NULL,
  status         text NOT NULL CHECK (status IN ('pending', 'running', 'succeeded', 'failed')),
  -- Where the deploy stands: what is named here is durable, what follows is not (control/release/deploy.ts).
  step           text NOT NULL DEFAULT 'accepted'
                 CHECK (step IN ('accepted', 'placed', 'published', 'undoing', 'finished')),
  image_ref      text NOT NULL,
  image_digest   text,
  guest          jsonb NOT NULL,
  env            jsonb NOT NULL,
  services       jsonb NOT NULL,
  entrypoint     jsonb,
  command        jsonb,
  wait_timeout_s integer NOT NULL,
  machine_count  integer NOT NULL CHECK (machine_count BETWEEN 1 AND 1000),
  progress       jsonb NOT NULL DEFAULT '[]',
  error          jsonb,
  -- The runner that may record steps; a later claim changes it and so fences an earlier runner off.
  claim          bigint,
  created_at     timestamptz NOT NULL DEFAULT now(),
  finished_at    timestamptz,
  UNIQUE (app_id, version)
);
-- One deploy at a time, held by the database and not by a check before it.
CREATE UNIQUE INDEX releases_one_unfinished ON releases (app_id) WHERE status IN ('pending', 'running');
CREATE SEQUENCE release_claims;

CREATE TABLE hosts (
  id      text PRIMARY KEY,
  region  text NOT NULL,
  url     text NOT NULL,
  view    jsonb NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now()
);

-- The placement ledger: which host was asked for which machine. The machine's state is its worker's to tell.
CREATE TABLE machines (
  id                text PRIMARY KEY,
  app_id            text NOT NULL REFERENCES apps (id),
  release_id        text NOT NULL REFERENCES releases (id),
  host_id           text NOT NULL REFERENCES hosts (id),
  region            text NOT NULL,
  created_at        timestamptz NOT NULL DEFAULT now(),
  -- The wish to be gone, written before the worker is asked; the reaper repeats it until destroyed_at.
  destroy_wanted_at timestamptz,
  destroyed_at      timestamptz
);
CREATE INDEX machines_by_app ON machines (app_id, id);
CREATE INDEX machines_to_destroy ON machines (destroy_wanted_at)
  WHERE destroy_wanted_at IS NOT NULL AND destroyed_at IS NULL;

CREATE TABLE idempotency_keys (
  subject    text NOT NULL,
  key        text NOT NULL,
  input_hash text NOT NULL,
  -- What the mutation answered: ids, never contents.
  answer     jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (subject, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE tokens_revoked (
  token_id   text PRIMARY KEY,
  expires_at timestamptz NOT NULL
);

-- The epoch of the versions that this database gives out: later databases win over earlier ones. Who restores a
-- backup must set it to the present time, because sequence numbers above the backup's were given out already.
CREATE TABLE publish_epoch (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  epoch    bigint NOT NULL
);
INSERT INTO publish_epoch (epoch) VALUES (extract(epoch FROM now())::bigint);
CREATE SEQUENCE publish_seq;

CREATE TABLE outbox (
  id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event jsonb NOT NULL
);
