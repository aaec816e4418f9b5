-- What a worker has begun and not sent, and decisions not to send. Both are encrypted as alerts are: each under a key of
-- its own, wrapped by the key of the day on which it ends, and gone for good when that key is destroyed.

create table drafts (
  id text primary key,                    -- random; the key and the content are bound to it
  account text not null,                  -- whose it is; nobody else is ever shown it
  purpose text not null,                  -- empty: a new alert; else the id of the alert that is being corrected
  once text not null,                     -- random; under this key it is sent, so that it is sent once
  saved_at bigint not null,
  expires_at bigint not null,             -- an hour after it was saved last; deleted then, or when it is sent
  bucket_day text not null,
  wrapped_key blob not null,
  content blob not null                   -- encrypted: the form as it was typed
);
create unique index drafts_by_account on drafts (account, purpose);
create index drafts_by_end on drafts (expires_at);

create table decisions (
  id text primary key,                    -- random
  actor text not null,                    -- pseudonym of who decided; nobody else is ever shown it
  decided_at bigint not null,
  retain_until bigint not null,           -- deleted then
  bucket_day text not null,
  wrapped_key blob not null,
  content blob not null                   -- encrypted: the reason, when it is looked at again, and what was written
);
create index decisions_by_actor on decisions (actor, decided_at, id);
create index decisions_by_end on decisions (retain_until);

-- When its sender said that what needed them was dealt with; what happens later needs them again.
alter table alerts add column attended_at bigint;
create index alerts_by_actor on alerts (actor, seq);
create index alerts_by_team on alerts (team, seq);
create index messages_in_need on messages (alert_id, status_at)
  where status in ('refused', 'not_ours', 'expired_unread', 'undelivered');
create index messages_held on messages (alert_id, created_at) where partner is null and settled_at is null;
create index remarks_asked on remarks (alert_id, at) where side = 'sent' and kind = 'question';
create index remarks_answers on remarks (question) where question is not null;
