-- By what an alert that came is found again as one about the same person (docs/retention.md): blind marks alone.

-- A mark is a keyed hash of 64 bits of one fact such as how a name sounds, under the key of the day on which the alert
-- expires: another day's mark of the same fact is another, and all are noise once that key is destroyed. Dropped with
-- the alert's content.
create table traces (
  mark bigint not null,
  inbox_seq bigint not null
);
create index traces_by_mark on traces (mark, inbox_seq);
create index traces_by_alert on traces (inbox_seq, mark);

-- What people at a desk said is not the same person, though it may seem so: it is not suggested again. Numbers alone,
-- dropped with the content of either alert.
create table told_apart (
  later_seq bigint not null,
  earlier_seq bigint not null,
  at bigint not null,
  primary key (later_seq, earlier_seq)
);
create index told_apart_by_earlier on told_apart (earlier_seq);
