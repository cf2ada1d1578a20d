mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  github_provider_arn = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"
  releases = {
    app = {
      owner              = "acme"
      owner_id           = 1001
      repository         = "app"
      repository_id      = 2002
      ref                = "refs/heads/main"
      workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
      ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
    }
  }
  cluster                  = { name = "proof", arn = "arn:aws:eks:eu-central-1:111122223333:cluster/proof" }
  readable_repository_arns = ["arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"]
}

run "the_trust_is_exact" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role.release["app"].assume_role_policy) == {
      Version = "2012-10-17"
      Statement = [{
        Effect    = "Allow"
        Action    = "sts:AssumeRoleWithWebIdentity"
        Principal = { Federated = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com" }
        Condition = {
          StringEquals = {
            "token.actions.githubusercontent.com:aud"              = "sts.amazonaws.com"
            "token.actions.githubusercontent.com:sub"              = ["repo:acme/app:ref:refs/heads/main", "repo:acme@1001/app@2002:ref:refs/heads/main"]
            "token.actions.githubusercontent.com:repository_id"    = "2002"
            "token.actions.githubusercontent.com:job_workflow_ref" = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
          }
        }
      }]
    }
    error_message = "the trust policy is ${aws_iam_role.release["app"].assume_role_policy}"
  }
}

run "an_environment_takes_the_place_of_the_ref" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 2002
        environment        = "production"
        workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
      }
    }
  }

  assert {
    condition     = jsondecode(aws_iam_role.release["app"].assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == ["repo:acme/app:environment:production", "repo:acme@1001/app@2002:environment:production"]
    error_message = "the subject is not the environment's"
  }
  assert {
    condition     = !contains(keys(output.identities["app"]), "ref")
    error_message = "a ref nobody gave stands in the identity"
  }
}

run "push_reaches_one_repository_and_deletes_nothing" {
  command = plan

  assert {
    condition     = alltrue([for s in jsondecode(aws_iam_role_policy.push["app"].policy).Statement : s.Action == "ecr:GetAuthorizationToken" || s.Resource == "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"])
    error_message = "a right reaches beyond the repository"
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.push["app"].policy, "Delete") && !strcontains(aws_iam_role_policy.push["app"].policy, "ecr:*")
    error_message = "the release may delete"
  }
}

run "two_read_and_nobody_else" {
  command = plan

  assert {
    condition     = toset(keys(aws_eks_pod_identity_association.reader)) == toset(["hallmark/hallmark", "kyverno/kyverno-admission-controller", "kyverno/kyverno-reports-controller"])
    error_message = "other pods have a role"
  }
  assert {
    condition     = alltrue([for p in aws_iam_role_policy.read : !can(regex("ecr:(Put|Upload|Initiate|Complete|Delete|BatchDelete|Set|Create)", p.policy))])
    error_message = "a reader may write"
  }
  assert {
    condition     = alltrue([for r in aws_iam_role.reader : jsondecode(r.assume_role_policy).Statement[0].Condition.StringEquals["aws:RequestTag/eks-cluster-arn"] == "arn:aws:eks:eu-central-1:111122223333:cluster/proof"])
    error_message = "a reader's role can be taken from another cluster"
  }
}

run "without_a_cluster_no_pod_has_a_role" {
  command = plan
  variables {
    cluster                  = null
    readable_repository_arns = []
  }

  assert {
    condition     = length(aws_iam_role.reader) == 0 && length(aws_iam_role.release) == 1
    error_message = "roles for pods without a cluster"
  }
}

run "a_workflow_by_tag_is_said_aloud" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 2002
        ref                = "refs/heads/main"
        workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@refs/tags/v1"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
      }
    }
  }
  expect_failures = [check.workflows_are_pinned_by_commit]
}

run "the_account_s_own_provider_is_made_once" {
  command = plan
  variables {
    github_provider_arn = null
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 1 && jsondecode(aws_iam_role.release["app"].assume_role_policy).Statement[0].Principal.Federated == "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"
    error_message = "the trust names another provider than the one made"
  }
}
