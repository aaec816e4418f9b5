-- What ends before its own day, on its way to the keystore (docs/retention.md): written with the deletion, in its unit.
create table ending_early (
  side text not null,                     -- received: id is that of a message, in hex; sent: that of an alert
  id text not null,
  until bigint not null,                  -- milliseconds: nothing of it is kept or let in after this
  code text,                              -- why it was deleted at once; null: it is only kept for less time
  day text not null,                      -- YYYY-MM-DD, UTC: until then a key may live that opens it in an older copy
  primary key (side, id)
);
