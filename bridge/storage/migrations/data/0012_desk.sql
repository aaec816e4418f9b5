-- What a desk sorts by: how urgent a received alert is, by when somebody should have taken it, and whether the team was
-- told that nobody has. No personal data.

alter table inbox add column urgent bigint not null default 0;
alter table inbox add column due_at bigint;      -- by when it should be taken; null: came before this was kept
alter table inbox add column late_at bigint;     -- when its target was looked at, and the team told if nobody had taken it
create index inbox_by_urgency on inbox (state, urgent desc, seq);
create index inbox_by_target on inbox (due_at) where late_at is null;
