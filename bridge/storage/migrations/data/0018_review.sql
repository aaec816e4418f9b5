-- Soft information is looked at again when half of its time is over. No personal data.

alter table inbox add column review_asked_at bigint;  -- when the team was asked to look at it again
alter table inbox add column reviewed_at bigint;      -- when somebody did
create index inbox_by_half on inbox (retention, (received_at + retain_until))
  where purged_at is null and review_asked_at is null;
create index inbox_to_review on inbox (seq)
  where review_asked_at is not null and reviewed_at is null and purged_at is null;
