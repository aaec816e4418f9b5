-- Counts by class and of what ends soon, again: an engine that does not know that a partial index already says
-- `purged_at is null` reads every row to see it, unless the column stands in the index as well.

drop index inbox_by_end;
drop index inbox_by_class;
drop index alerts_by_class;
drop index alerts_by_expiry;
create index inbox_by_end on inbox (retain_until, warned_days, state, purged_at) where purged_at is null;
create index alerts_by_end on alerts (retain_until, purged_at) where purged_at is null;
create index inbox_by_class on inbox (retention, retain_until, seq, received_at, purged_at) where purged_at is null;
create index alerts_by_class on alerts (retention, retain_until, seq, created_at, purged_at) where purged_at is null;
