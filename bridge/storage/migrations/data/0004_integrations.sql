-- What the area's own systems are told and how: events, webhooks, leases, calls. Nothing here holds personal data: what a
-- system is told of a person is opened from the alert's own encrypted content when it is sent, and never stored again.

-- What happened, for webhooks and the live stream: written in the unit that made it true. Dropped after two weeks.
create table events (
  seq bigint primary key,                 -- increasing; the place in the live stream
  id text not null,                       -- what receivers know it by, and drop a repetition by
  at bigint not null,
  type text not null,                     -- table in bridge/events.py
  alert_id text,                          -- null: about no alert
  partner text,
  data text not null                      -- JSON: ids, reference, codes
);
create index events_by_time on events (at);
create index events_of_partners on events (type, partner, at) where alert_id is null;

-- Addresses of the area's own systems that are told of events. The keys they are signed with are in the keystore.
create table webhooks (
  id text primary key,
  label text not null,
  url text not null,
  types text not null,                    -- JSON list; empty: all
  content text not null,                  -- thin: ids alone; full: the alert too, opened when it is sent
  team text,                              -- function whose alerts it is told of; null: of all
  state text not null,                    -- on, failing, off
  reason text,                            -- code of why it is failing or off
  position bigint not null,               -- number of the newest event that was queued for it
  failures bigint not null,               -- failed tries in a row
  failing_since bigint,
  next_attempt bigint not null,           -- nothing is sent before this
  version bigint not null,                -- counts changes: the ETag
  created_at bigint not null,
  created_by text not null                -- pseudonym
);

-- One row an event and endpoint: the queue, and the log of what was sent. Dropped with the event, or its endpoint.
create table deliveries (
  webhook text not null,
  seq bigint not null,                    -- of the event
  event_id text not null,
  type text not null,
  alert_id text,
  state text not null,                    -- waiting, done, dead
  attempts bigint not null,
  next_attempt bigint not null,
  queued_at bigint not null,
  tried_at bigint,                        -- last try
  status bigint,                          -- HTTP status of the last answer
  code text,                              -- why the last try failed
  primary key (webhook, seq)
);
create index deliveries_waiting on deliveries (webhook, seq) where state = 'waiting';
create index deliveries_dead on deliveries (webhook, seq) where state = 'dead';
create index deliveries_by_event on deliveries (seq);

-- Received alerts that a system has taken to work on, or has acknowledged. Dropped with the alert's content.
create table leases (
  inbox_seq bigint not null,
  team text not null,                     -- of the system's token; empty: of none
  id text,                                -- of the lease; null once given back or acknowledged
  holder text not null,                   -- pseudonym of the system
  until bigint not null,                  -- when the item is handed out again
  times bigint not null,                  -- how often it was handed out
  done_at bigint,                         -- when it was acknowledged: never handed out again
  primary key (inbox_seq, team)
);
create index leases_by_id on leases (id) where id is not null;

-- Calls of each token, for a week: which route and how it ended, never what was asked or answered.
create table calls (
  seq bigint primary key,
  token text not null,
  at bigint not null,
  method text not null,
  route text not null,                    -- as it is declared, with {ref} for what it is asked about
  status bigint not null,
  code text,                              -- of the problem
  took bigint not null                    -- milliseconds
);
create index calls_by_token on calls (token, seq);
create index calls_by_time on calls (at);

alter table tokens add column team text;  -- function that the token acts for; null: for all
alter table tokens add column rate bigint; -- requests a minute; null: as in the settings

alter table inbox add column functions text; -- functions the alert came for, as ",MASH,POLICE,"
alter table alerts add column team text;  -- function of the token that sent it

create index inbox_by_arrival on inbox (received_at, seq);
