-- The audit log as a tree, what partners have seen of it, and the evidence that an export rests on (PROTOCOL section 10).
-- Nothing here holds personal data.

alter table audit add column leaf blob;   -- RFC 6962 leaf hash of the record; null for records older than this column
alter table audit add column alert text;  -- id of the alert that the record is about; null: about none
create index audit_by_alert on audit (alert, seq) where alert is not null;

-- Roots of whole subtrees of 256, 65,536, ... records, so that a proof reads hundreds of rows and not all. Can be made
-- again from the records.
create table tiles (
  level bigint not null,                  -- 1: of 256 records, 2: of 256 tiles of level 1, ...
  position bigint not null,               -- from 0
  hash blob not null,
  primary key (level, position)
);

-- Heads of our tree as we signed them. All of the last weeks, then the last one of each day.
create table checkpoints (
  size bigint primary key,                -- how many records
  root blob not null,
  frontier blob not null,                 -- the tree's state, from which it goes on
  text text not null,                     -- the signed note
  at bigint not null,
  day text not null
);

-- Heads of partners' trees as they signed them: we are their witness. Those that are shown to go on in a later one
-- are thinned to the last of each day; what contradicts another stays.
create table witnesses (
  partner text not null,
  branch bigint not null,                 -- counts from 0; one more each time the log was found not to go on
  size bigint not null,
  root blob not null,
  text text not null,                     -- the signed note
  at bigint not null,                     -- when we saw it
  linked bigint not null,                 -- 1 once a later head of the branch was proved to continue it
  code text,                              -- why a new branch began with this row
  primary key (partner, branch, size)
);

-- Signed greetings of partners that name a head of our own tree: they are our witnesses. The last of each day.
create table witnessed (
  partner text not null,
  day text not null,
  size bigint not null,                   -- of our tree, as the greeting names it
  document blob not null,                 -- the greeting
  signatures blob not null,               -- msgpack
  at bigint not null,
  primary key (partner, day)
);

-- The signed answer to an envelope, taken over from `seen` when that row is over (msgpack of document and signatures).
alter table arrivals add column answer blob;

-- Receipts that we told a partner later on, by when they were signed.
create index messages_told on messages (partner, created_at) where type = 'receipts';
