-- The node's data. No personal data stands in clear in any column: what people wrote is in `content` and `payload`
-- columns, encrypted under a key of its alert, wrapped by the key of its expiry day (PROTOCOL section 8).
-- Times are milliseconds since 1970-01-01 UTC. Days are text, YYYY-MM-DD. Ids of messages and envelopes are 16 bytes.

-- Increasing numbers given out inside the transaction that uses them, so that a reader never skips one.
create table counters (
  name text primary key,
  value bigint not null
);

-- Facts about this database, such as the high-water mark of wall time. Never deleted.
create table facts (
  name text primary key,
  value text not null
);

-- Partner nodes and what our administrators decided about them. Kept for ever: receipts refer to them.
create table partners (
  node_id text primary key,
  state text not null,                    -- discovered, pending, active, suspended, revoked
  seq bigint not null,                    -- number of the descriptor held
  document blob not null,                 -- the descriptor, as signed
  signatures blob not null,               -- its signatures (msgpack)
  approvals text not null,                -- JSON: which administrators confirmed the fingerprint, and when
  grants text not null,                   -- JSON: areas and functions that our administrators approved, with dates
  agreement text,                         -- JSON: the sharing agreement, where one is recorded
  added_at bigint not null,
  state_at bigint not null,
  last_contact bigint                     -- newest contact that carried a valid signature
);

-- One row a partner that we send to: when the next try is due. Rebuilt from nothing if lost.
create table lanes (
  partner text primary key,
  failures bigint not null,               -- tries in a row without a signed answer
  failing_since bigint,                   -- first of them
  next_attempt bigint not null,
  reason text                             -- code of the last failure
);

-- Alerts this node has sent. The row stays as a content-free stub when the content is destroyed.
create table alerts (
  seq bigint primary key,                 -- order of submission, for paging
  id text not null unique,                -- UUIDv7
  reference text not null unique,
  created_at bigint not null,
  actor text not null,                    -- pseudonym of the account or token that sent it
  exercise bigint not null,               -- 1 when it is an exercise
  urgent bigint not null,                 -- 1 when the lanes must hurry
  retention text not null,                -- class
  retain_until bigint not null,
  bucket_day text not null,               -- day whose bucket key wraps the alert's key
  wrapped_key blob,                       -- null once destroyed
  content blob,                           -- what travels, encrypted under the alert's key; null once destroyed
  purged_at bigint,
  withdrawn_at bigint
);
create index alerts_by_expiry on alerts (retain_until) where purged_at is null;

-- The outbox, and the only queue: one row a message to one partner. Stays as a stub with its alert.
create table messages (
  id blob primary key,
  type text not null,
  alert_id text,                          -- null for receipts
  partner text,                           -- null while held for the operator
  position bigint not null,               -- order of the recipients of an alert, from 0
  leg text not null,                      -- JSON: function and step of the route; codes only
  payload blob,                           -- null: the alert's own content; else a copy of its own, encrypted, or receipts
  urgent bigint not null,
  created_at bigint not null,
  deliver_by bigint not null,
  envelope_id blob,                       -- the envelope that carries it; null until sealed
  status text not null,                   -- newest status (table in bridge/receipts.py)
  status_at bigint not null,
  code text,                              -- refusal code or outcome
  warned_at bigint,                       -- when the sender was told that nobody has it yet
  settled_at bigint                       -- when a signed answer came, or the time for delivery ended
);
create index messages_by_alert on messages (alert_id, position);
create index messages_to_seal on messages (partner, urgent desc, created_at) where envelope_id is null and settled_at is null;
create index messages_by_envelope on messages (envelope_id) where envelope_id is not null;
create index messages_unsettled on messages (deliver_by) where settled_at is null;

-- Envelopes sealed and not yet answered keep their bytes, so that every try sends the same. Once settled, `sealed`
-- goes and what remains is the evidence: header, digest of the sealed bytes, signatures.
create table envelopes (
  id blob primary key,
  partner text not null,
  header blob not null,
  sealed blob,                            -- null once settled
  sealed_digest blob not null,            -- SHA-256 of the sealed bytes
  signatures blob not null,               -- msgpack
  digest blob not null,                   -- of PROTOCOL section 4: what receipts refer to
  leaves blob not null,                   -- 32-byte leaf hashes of the messages, in order
  urgent bigint not null,
  created_at bigint not null,
  deliver_by bigint not null,
  attempts bigint not null,
  next_attempt bigint not null,           -- later than its lane's only when it alone keeps failing
  settled_at bigint
);
create index envelopes_waiting on envelopes (partner, urgent desc, created_at) where settled_at is null;

-- Receipts documents from partners, as signed. Kept as evidence for the AUDIT/RECEIPT class; no personal data.
create table receipts (
  digest blob primary key,                -- SHA-256 of the document
  issuer text not null,
  document blob not null,
  signatures blob not null,               -- msgpack
  at bigint not null                      -- when it reached us
);

-- What each receipt says of each message of ours.
create table statements (
  message_id blob not null,
  status text not null,
  at bigint not null,                     -- the issuer's time
  code text,
  detail text,                            -- JSON: outcome, referral; codes only
  receipt blob,                           -- null for what we say ourselves
  seen_at bigint not null,
  primary key (message_id, status, at)
);

-- Ids of envelopes and messages that came before, so that twice is the same as once and a deleted alert never returns.
create table seen (
  id blob primary key,
  partner text not null,
  digest blob not null,                   -- of the envelope, or the content leaf of a message
  verdict text not null,                  -- received, or the refusal code
  answer blob,                            -- envelopes: the stored answer (msgpack of the signed receipts)
  until bigint not null                   -- later of deliver_by and expiry, plus a day
);
create index seen_by_end on seen (until);

-- Alerts received. The row stays as a content-free stub when the content is destroyed.
create table inbox (
  seq bigint primary key,                 -- increasing; the cursor of the consumer API
  message_id blob not null unique,
  alert_id text not null,
  reference text not null,
  partner text not null,
  type text not null,
  envelope_id blob not null,
  position bigint not null,               -- of the message inside its envelope
  exercise bigint not null,
  received_at bigint not null,
  state text not null,                    -- received, collected, opened, taken, closed, not_ours, expired_unread, purged
  state_at bigint not null,
  version bigint not null,                -- counts changes: the ETag
  code text,                              -- outcome or referral
  actor text,                             -- pseudonym of who took it
  retention text not null,
  retain_until bigint not null,
  bucket_day text not null,
  wrapped_key blob,                       -- null once destroyed
  content blob,                           -- payload as received, encrypted; null once destroyed
  purged_at bigint,
  withdrawn_at bigint
);
create index inbox_by_alert on inbox (alert_id);
create index inbox_by_reference on inbox (reference);
create index inbox_by_state on inbox (state, seq);
create index inbox_by_expiry on inbox (retain_until) where purged_at is null;

-- Envelopes that brought what is in the inbox: evidence without content.
create table arrivals (
  envelope_id blob primary key,
  partner text not null,
  header blob not null,
  sealed_digest blob not null,
  signatures blob not null,
  leaves blob not null,
  seq bigint not null,                    -- descriptor of the sender in force
  at bigint not null
);

-- Descriptors that evidence rests on: every one that a partner or we ourselves have used.
create table descriptors (
  node_id text not null,
  seq bigint not null,
  document blob not null,
  signatures blob not null,
  at bigint not null,
  primary key (node_id, seq)
);

-- API tokens: only the hash of the secret.
create table tokens (
  id text primary key,
  label text not null,
  scopes text not null,                   -- JSON list
  secret_hash blob not null,
  created_at bigint not null,
  expires_at bigint,
  last_used bigint,
  revoked_at bigint
);

-- Results of idempotent requests, for 24 hours.
create table idempotency (
  actor text not null,
  key text not null,
  body_digest blob not null,
  alert_id text not null,
  until bigint not null,
  primary key (actor, key)
);

-- What happened, one record an event, in order; leaves of a Merkle tree (PROTOCOL section 10). No personal data.
create table audit (
  seq bigint primary key,
  record blob not null                    -- JSON as hashed
);

-- What we have said, in signed receipts, of each alert received. Codes only; kept with the inbox row.
create table said (
  message_id blob not null,
  status text not null,
  at bigint not null,
  code text,                              -- outcome, referral or reason
  primary key (message_id, status, at)
);
