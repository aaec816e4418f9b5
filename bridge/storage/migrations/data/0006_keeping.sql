-- Keeping times, second part: corrections that come before what they correct, and indexes by which deleting, previews and
-- statements read no more than they need (PROTOCOL sections 8 and 9).

alter table inbox add column corrects text;           -- id of the alert that this one corrects, whether it came or not
alter table inbox add column withdrawn_because text;  -- the sender's reason, a code
create index inbox_by_correction on inbox (corrects) where corrects is not null;
create index alerts_by_correction on alerts (corrects) where corrects is not null;

-- When an envelope was given up while messages in it were not, so that these were sealed anew in another: the recipient
-- may have had it all the same, and speaks of them by this one.
alter table envelopes add column abandoned_at bigint;

-- What is over and what is over soon, warned or not, read or not: from the index alone.
drop index inbox_by_expiry;
drop index inbox_by_warning;
create index inbox_by_end on inbox (retain_until, warned_days, state) where purged_at is null;

-- Counts by class, and what a shorter keeping time would touch: from the index alone.
create index inbox_by_class on inbox (retention, retain_until, received_at, seq) where purged_at is null;
create index alerts_by_class on alerts (retention, retain_until, created_at, seq) where purged_at is null;

-- A month's statement, and evidence whose own time is over.
create index inbox_by_deletion on inbox (purged_at) where purged_at is not null;
create index alerts_by_deletion on alerts (purged_at) where purged_at is not null;
create index inbox_by_withdrawal on inbox (withdrawn_at) where withdrawn_at is not null;
create index said_by_time on said (at);
create index statements_by_time on statements (at);
create index receipts_by_time on receipts (at);
create index arrivals_by_time on arrivals (at);
create index envelopes_by_time on envelopes (created_at);
create index holds_in_force on holds (review) where state <> 'released';
