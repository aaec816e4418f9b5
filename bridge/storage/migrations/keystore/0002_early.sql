-- What was deleted, or is to be, before its own day: data that is restored obeys it (docs/retention.md). Ids alone.
create table early (
  side text not null,              -- received: id is that of a message, in hex; sent: that of an alert
  id text not null,
  until bigint not null,           -- milliseconds: nothing of it is kept or let in after this
  code text,                       -- why it was deleted at once; null: it is only kept for less time
  day text not null,               -- YYYY-MM-DD, UTC: until then a key may live that opens it in an older copy
  primary key (side, id)
);
create index early_by_day on early (day);
