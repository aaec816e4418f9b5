-- keystore.db: everything secret of a node, and nothing about any person (PROTOCOL sections 2 and 8).
-- Its own file and its own backup class: whoever holds data.db without it holds noise.

-- One row with what opens the others.
create table meta (
  id bigint primary key check (id = 1),
  node_id text not null,           -- whose keys these are
  source text not null check (source in ('passphrase', 'file')),
                                   -- where the node key comes from
  salt blob not null,              -- Argon2id salt of the passphrase; empty for a key file
  check_value blob not null,       -- a known text under the node key: tells a wrong key from damage
  created_at bigint not null       -- milliseconds
);

-- Private keys. A destroyed key keeps its row without the seed, so that its past use can be explained.
create table keys (
  kid text primary key,            -- PROTOCOL section 2, lower-case hex; a name for what is no key pair
  purpose text not null,           -- identity, message, sealing, tls, hmac
  alg text not null,               -- of the seed
  seed blob,                       -- wrapped by the node key; null once destroyed
  public blob not null,            -- public key; empty for a symmetric one
  not_before bigint not null,      -- milliseconds: first use
  not_after bigint,                -- milliseconds: last use; null while nothing ends it
  destroy_after bigint,            -- milliseconds: the seed goes then, which is the forward secrecy
  state text not null check (state in ('active', 'retired', 'destroyed')),
  changed_at bigint not null       -- milliseconds: of the state
);
create index keys_purpose on keys (purpose, state);

-- One key for each day on which content expires; destroying it makes that day's content noise, backups too.
create table buckets (
  day text primary key,            -- YYYY-MM-DD, UTC
  wrapped blob,                    -- wrapped by the node key; null once destroyed
  created_at bigint not null,      -- milliseconds
  destroyed_at bigint              -- milliseconds; a destroyed day never gets a key again
);
