-- Keeping times: warnings, holds, withdrawals and corrections (PROTOCOL sections 8 and 9).

alter table inbox add column warned_days bigint;      -- newest warning before deletion: 14 or 3; null: none yet
alter table inbox add column superseded_by text;      -- id of the alert that corrects this one
alter table alerts add column warned_days bigint;
alter table alerts add column corrects text;          -- id of the alert that this one corrects

-- Content that must be kept longer: two people, an authority, a date of review. Kept for ever: no personal data.
create table holds (
  id text primary key,                    -- 16 hex digits; names the hold's own key in the keystore
  side text not null,                     -- sent or inbox
  alert_id text not null,
  authority text not null,                -- reference of whoever demands it, e.g. an inquiry's number
  review text not null,                   -- day by which it is looked at again
  state text not null,                    -- asked, held, leaving, released
  asked_by text not null,
  asked_at bigint not null,
  confirmed_by text,
  confirmed_at bigint,
  release_by text,
  release_at bigint,
  released_by text,
  released_at bigint,
  bucket_day text not null,               -- what applies again when it is released
  retain_until bigint not null
);
create index holds_by_alert on holds (alert_id);

create index inbox_by_warning on inbox (retain_until, warned_days) where purged_at is null;
create index messages_by_type on messages (type, alert_id) where type <> 'alert' and alert_id is not null;
