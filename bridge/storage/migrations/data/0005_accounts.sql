-- People who sign in, their sessions and how they prove who they are. Names stand nowhere in clear: `handle` is a tag
-- under a key of the keystore, `profile`, `totp` and `detail` are encrypted under it.

create table accounts (
  id text primary key,                    -- 12 letters and digits; the audit log names people by it alone
  handle blob not null unique,            -- tag of the sign-in name
  profile blob not null,                  -- encrypted: name as shown, sign-in name
  roles text not null,                    -- JSON list of codes (bridge/accounts.py)
  teams text not null,                    -- JSON list of functions whose alerts the person sees; empty: all of the node's
  state text not null,                    -- invited, active, disabled
  password text,                          -- Argon2id; null: none
  totp blob,                              -- encrypted secret of the authenticator app; null: none
  totp_step bigint,                       -- newest step that was used, so that a code is good once
  subject blob unique,                    -- tag of issuer and subject of the organisation's sign-in; null: none
  created_at bigint not null,
  created_by text not null,
  last_sign_in bigint
);

create table passkeys (
  id blob primary key,                    -- credential id
  account text not null,
  public blob not null,                   -- attested credential data; no secret
  counter bigint not null,                -- newest signature counter
  detail blob not null,                   -- encrypted: what its owner calls it
  created_at bigint not null,
  last_used bigint
);
create index passkeys_by_account on passkeys (account);

-- Deleted when they end, at the latest by the sweep after `expires_at`.
create table sessions (
  digest blob primary key,                -- SHA-256 of the cookie, which is 256 random bits
  id text not null unique,                -- names the session in lists
  account text not null,
  stage text not null,                    -- code: the second factor is missing; enrol: it must be set up; full
  method text not null,                   -- password, passkey, organisation, link
  started_at bigint not null,
  seen_at bigint not null,                -- to the minute
  expires_at bigint not null,
  locked_at bigint,                       -- the screen shield is up since then
  held text                               -- JSON: messages to show once, and what a step hands to the next; codes only
);
create index sessions_by_account on sessions (account);

-- One-time links that set up an account. Deleted when used or over.
create table setup_links (
  digest blob primary key,                -- SHA-256 of the secret in the link
  account text,                           -- null: makes the first administrator
  created_at bigint not null,
  created_by text not null,
  expires_at bigint not null
);

-- Wrong guesses, by tag of the name that was tried or of the browser that was known. Deleted after half a day.
create table guesses (
  subject blob primary key,
  failures bigint not null,
  next_try bigint not null,
  at bigint not null
);
create index guesses_by_age on guesses (at);
