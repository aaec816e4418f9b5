-- Questions that a receiver asks about an alert, and the sender's answers (PROTOCOL section 4). The text is encrypted
-- under the key of the alert, so that it ends with the alert; what remains is who asked and when.

create table remarks (
  side text not null,                     -- received: about an alert in the inbox; sent: about one sent from here
  id blob not null,                       -- of the message that carries it
  alert_id text not null,
  message blob not null,                  -- the message that brought the alert to the one who asks
  partner text not null,                  -- the node at the other end
  kind text not null,                     -- question or answer
  question blob,                          -- of an answer: the id of what it answers
  ours bigint not null,                   -- 1: said here
  at bigint not null,                     -- when it was said here, or came here
  actor text,                             -- pseudonym of who said it here
  content blob,                           -- null once deleted
  primary key (side, id)
);
create index remarks_by_alert on remarks (side, alert_id, at);
